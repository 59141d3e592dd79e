"""Sheets to start from, one per task: the header, two examples, and a page that explains the columns."""

from io import BytesIO

from django.utils.translation import gettext as _
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font

from datasets_app.models import TaskType


def template_sheet(task_type: str) -> bytes:
    """An .xlsx that passes validation as it is."""
    book = Workbook()
    page, page.title = book.active, _("Examples")
    rows = _token_rows() if task_type == TaskType.TOKEN_CLASSIFICATION else _text_rows()
    for row in rows:
        page.append(row)
    explained = book.create_sheet(_("Help"))
    for sentence in _help(task_type):
        explained.append([sentence])
    for sheet, widths in ((page, (80, 60)), (explained, (110,))):
        for letter, width in zip("AB", widths, strict=False):
            sheet.column_dimensions[letter].width = width
            for cell in sheet[letter]:
                cell.alignment = Alignment(wrap_text=True, vertical="top")
    for cell in page[1]:
        cell.font = Font(bold=True)
    page.freeze_panes = "A2"
    content = BytesIO()
    book.save(content)
    return content.getvalue()


def template_name(task_type: str) -> str:
    """What the file is called."""
    if task_type == TaskType.TOKEN_CLASSIFICATION:
        return _("entities-template.xlsx")
    return _("classification-template.xlsx")


def _text_rows() -> list[tuple[str, str]]:
    return [
        (_("text"), _("label")),
        (_("The plaintiff asks for the supply of a medicine of continuous use."), _("Health")),
        (_("Appeal against the tax assessment of the year 2021."), _("Tax")),
    ]


def _token_rows() -> list[tuple[str, str]]:
    return [
        ("tokens", "tags"),
        (
            "Maria Souza recorreu ao Tribunal de Justiça",
            "B-PESSOA I-PESSOA O O B-ORGAO I-ORGAO I-ORGAO",
        ),
        ("O Estado de Mato Grosso do Sul contestou", "O B-LOCAL I-LOCAL I-LOCAL I-LOCAL I-LOCAL I-LOCAL O"),
    ]


def _help(task_type: str) -> list[str]:
    if task_type == TaskType.TOKEN_CLASSIFICATION:
        own = [
            _("One example per row. Delete the two examples and paste your own below the header."),
            _("tokens: the words of the sentence, separated by blanks."),
            _("tags: one per word: O outside of entities, B-TYPE at the first word of an entity, I-TYPE inside it."),
            _("Both cells of a row must have the same number of items."),
        ]
    else:
        own = [
            _("One example per row. Delete the two examples and paste your own below the header."),
            _("text: the whole text, as it is. label: its class, always written in the same way."),
            _("At least two different labels; better 30 examples or more of each."),
        ]
    return [
        *own,
        _("Optional columns: “group” (rows of one case never stand on both sides of the split) and “split”."),
    ]
