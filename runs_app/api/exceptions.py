"""From what the services refuse to a status code; the only place that pairs them."""

from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api import CodedError
from runs_app.hyperparameters import InvalidHyperparameters
from runs_app.services.errors import StateError
from runs_app.services.runs import BaseModelNotOffered, DatasetGone


class RunsAPIView(APIView):
    """A view whose services may refuse."""

    def handle_exception(self, exc: Exception) -> Response:
        """409 for the state, 400 for a field."""
        return super().handle_exception(translate(exc))


def translate(error: Exception) -> Exception:
    """The API's exception for a service's, or the same one when it is none of ours."""
    if isinstance(error, StateError):
        return CodedError(code=error.code, detail=str(error), status_code=status.HTTP_409_CONFLICT)
    if isinstance(error, InvalidHyperparameters):
        return ValidationError({"hyperparameters": error.errors})
    if isinstance(error, BaseModelNotOffered):
        return ValidationError({"base_model": [str(error)]})
    if isinstance(error, DatasetGone):
        return ValidationError({"dataset": [str(error)]})
    return error
