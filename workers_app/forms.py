"""What a person fills in about workers and tokens."""

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from workers_app.models import Worker


class RegisterWorkerForm(forms.ModelForm):
    """Name and description; the token is made by the service."""

    class Meta:
        model = Worker
        fields = ["name", "description"]
        help_texts = {"name": _("How people will know this PC, for example gpu-room-2.")}
        widgets = {
            "name": forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
            "description": forms.TextInput(attrs={"class": "vTextField"}),
        }


class NewApiTokenForm(forms.Form):
    """Whose token; only a superuser chooses."""

    user = forms.ModelChoiceField(
        queryset=get_user_model().objects.none(), label=_("User"), help_text=_("The token may do what this user may.")
    )

    def __init__(self, *args: Any, asked_by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = get_user_model().objects.filter(is_active=True).order_by("username")
        user = self.fields["user"]
        assert isinstance(user, forms.ModelChoiceField)
        user.queryset = people if asked_by.is_superuser else people.filter(pk=asked_by.pk)
        user.initial = asked_by.pk
