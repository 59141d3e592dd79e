"""A workbook made in memory, as an answer; for the admin and the API alike."""

from django.http import HttpResponse
from django.utils.http import content_disposition_header

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def sheet_response(content: bytes, filename: str) -> HttpResponse:
    """An .xlsx to be saved under this name."""
    disposition = content_disposition_header(as_attachment=True, filename=filename)
    return HttpResponse(content, content_type=XLSX_TYPE, headers={"Content-Disposition": disposition or "attachment"})
