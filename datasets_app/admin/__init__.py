"""Datasets as people see them; `runs_app.admin` registers the class with what runs know of a dataset."""
