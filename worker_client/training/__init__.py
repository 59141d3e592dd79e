"""The training child: `python -m worker_client.training WORKSPACE`. No HTTP here; torch is imported late."""
