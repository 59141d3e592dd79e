"""A sheet that cannot be used is a 422; one that is too long for the wire is a 413."""

from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api import CodedError
from datasets_app.messages import too_large_sentence
from datasets_app.reading_slots import RETRY_AFTER_S, ReadersBusy
from datasets_app.services import DatasetInvalid, OtherTask, UploadTooLarge


class Busy(CodedError):
    """503; the framework makes `wait` the Retry-After."""

    wait = RETRY_AFTER_S


class SheetsAPIView(APIView):
    """A view whose services may refuse a sheet."""

    def handle_exception(self, exc: Exception) -> Response:
        """See the module."""
        return super().handle_exception(translate(exc))


def translate(error: Exception) -> Exception:
    """The API's exception for a service's, or the same one when it is none of ours."""
    if isinstance(error, UploadTooLarge):
        return too_large()
    if isinstance(error, DatasetInvalid):
        extra = {"valid": False, "error_count": error.error_count, "errors": error.errors}
        unprocessable = status.HTTP_422_UNPROCESSABLE_ENTITY
        return CodedError(code=error.code, detail=error.detail, status_code=unprocessable, extra=extra)
    if isinstance(error, OtherTask):
        return ValidationError({"previous": [_("This dataset is of another task.")]})
    if isinstance(error, ReadersBusy):
        detail = _("The server is reading other sheets at the moment. Try again in a few seconds.")
        return Busy(code="unavailable", detail=detail, status_code=status.HTTP_503_SERVICE_UNAVAILABLE)
    return error


def too_large() -> CodedError:
    """413 with the limit in words."""
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    return CodedError(code="too_large", detail=too_large_sentence(), status_code=status_code)
