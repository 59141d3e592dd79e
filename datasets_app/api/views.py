"""Datasets: check, upload, list, read."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from config.renderers import FileAnyhow
from datasets_app import services
from datasets_app.annotating import annotate_sheet
from datasets_app.api.exceptions import SheetsAPIView, too_large
from datasets_app.api.filters import DatasetFilter
from datasets_app.api.serializers import DatasetSerializer, SheetSerializer, UploadSerializer
from datasets_app.downloads import XLSX_TYPE, sheet_response
from datasets_app.models import Dataset

MULTIPART_OVERHEAD_BYTES = 64 * 1024  # boundaries and the other fields of a form


class SheetUploadView(SheetsAPIView, generics.GenericAPIView):
    """A multipart form with a sheet; one that says that it is too long is refused before it is read."""

    parser_classes = [MultiPartParser]
    required_permissions = {"GET": ["datasets_app.add_dataset"], "POST": ["datasets_app.add_dataset"]}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Identity and permission first, then the declared length."""
        super().initial(request, *args, **kwargs)
        declared = request.META.get("CONTENT_LENGTH") or "0"
        limit = settings.MAX_UPLOAD_MB * 2**20 + MULTIPART_OVERHEAD_BYTES
        if declared.isdigit() and int(declared) > limit:
            raise too_large()

    def form(self, request: Request) -> Any:
        """The form, judged. Raises ValidationError."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        return form


class ValidateView(SheetUploadView):
    """The full report on a sheet; nothing is stored."""

    serializer_class = SheetSerializer

    @extend_schema(request={"multipart/form-data": SheetSerializer}, responses={200: dict, 422: dict})
    def post(self, request: Request) -> Response:
        """200 for a sheet that can be trained on, 422 with every error otherwise."""
        form = self.form(request)
        checked = services.check_dataset(file=form.validated_data["file"], choice=form.choice())
        report = checked.report
        return Response(
            {
                "valid": True,
                "task_type": report.task_type,
                "sha256": checked.sha256,
                "size_bytes": checked.size_bytes,
                "num_rows": report.num_rows,
                "sheet": report.sheet,
                "columns": report.columns,
                "labels": report.labels,
                "report": services.report_json(report),
            }
        )


class AnnotateView(SheetUploadView):
    """The sheet again, with its errors marked."""

    content_negotiation_class = FileAnyhow
    serializer_class = SheetSerializer

    @extend_schema(
        request={"multipart/form-data": SheetSerializer},
        responses={(200, XLSX_TYPE): OpenApiTypes.BINARY, 422: dict},
    )
    def post(self, request: Request) -> HttpResponse:
        """A copy with the faulty cells coloured and commented and a list of all errors; nothing is stored.

        422 only for a file that cannot be read as a sheet at all. A long sheet (above 20 MiB or 20,000 rows) comes
        back as the list alone.
        """
        form = self.form(request)
        file = form.validated_data["file"]
        copy, filename = annotate_sheet(file=file, filename=file.name, choice=form.choice())
        return sheet_response(copy, filename)


class UploadView(SheetUploadView):
    """Check a sheet and keep it."""

    serializer_class = UploadSerializer

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses={201: DatasetSerializer, 422: dict})
    def post(self, request: Request) -> Response:
        """201 with the new dataset, or 200 with the one that holds the same sheet already."""
        form = self.form(request)
        file, previous = form.validated_data["file"], form.validated_data["previous"]
        user = request.user
        assert isinstance(user, User)  # the permission lets people in and nobody else
        if previous is not None and not user.has_perm("datasets_app.view_dataset"):
            raise PermissionDenied
        dataset, created = services.import_dataset(
            file=file,
            filename=file.name,
            name=form.validated_data["name"],
            description=form.validated_data["description"],
            choice=form.choice(),
            user=user,
            previous=previous,
        )
        answer = {**DatasetSerializer(dataset).data, "created": created}
        return Response(answer, status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)


class DatasetListView(generics.ListAPIView):
    """The datasets, newest first."""

    queryset = Dataset.objects.select_related("created_by")
    serializer_class = DatasetSerializer
    filterset_class = DatasetFilter
    required_permissions = {"GET": ["datasets_app.view_dataset"]}


class DatasetDetailView(generics.RetrieveAPIView):
    """One dataset."""

    queryset = Dataset.objects.select_related("created_by")
    serializer_class = DatasetSerializer
    required_permissions = {"GET": ["datasets_app.view_dataset"]}
