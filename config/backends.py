"""Who may do what: Django's model permissions, with the admin's own rule everywhere."""

from typing import Any

from django.contrib.auth.backends import ModelBackend


class ChangeImpliesView(ModelBackend):
    """Whoever may change a kind of thing may look at it, as the admin's pages have it; so the API and the menu, too."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Also where only the permission to change is held."""
        held = super().has_perm(user_obj, perm, obj)
        return held or (".view_" in perm and super().has_perm(user_obj, perm.replace(".view_", ".change_"), obj))
