"""Fills the catalogue: the four models of the specification at pinned commits, and the built-in tiny one."""

from django.db import migrations

MIB = 2**20
CATALOGUE = [
    {
        "model_id": "neuralmind/bert-base-portuguese-cased",
        "revision": "94d69c95f98f7d5b2a8700c420230ae10def0baa",
        "label": "BERTimbau base",
        "use": "Português do Brasil; a escolha recomendada. / Brazilian Portuguese; the recommended choice.",
        "parameter_count": 108_923_136,
        "size_bytes": 418 * MIB,
        "recommended": True,
    },
    {
        "model_id": "neuralmind/bert-large-portuguese-cased",
        "revision": "aa302f6ea73b759f7df9cad58bd272127b67ec28",
        "label": "BERTimbau large",
        "use": "Português do Brasil; mais preciso e três vezes mais lento. / More accurate, three times slower.",
        "parameter_count": 334_396_416,
        "size_bytes": 1_278 * MIB,
        "recommended": False,
    },
    {
        "model_id": "bert-base-multilingual-cased",
        "revision": "3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
        "label": "mBERT",
        "use": "Textos em várias línguas. / Texts in several languages.",
        "parameter_count": 177_853_440,
        "size_bytes": 681 * MIB,
        "recommended": False,
    },
    {
        "model_id": "xlm-roberta-base",
        "revision": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
        "label": "XLM-RoBERTa base",
        "use": "Textos em várias línguas; vocabulário grande. / Several languages; a large vocabulary.",
        "parameter_count": 278_043_648,
        "size_bytes": 1_064 * MIB,
        "recommended": False,
    },
    {
        "model_id": "builtin/tiny-bert",
        "revision": "",
        "label": "tiny-bert",
        "use": "Feito no worker a partir dos textos, sem download; para testes. / Made on the worker, no download; for trials.",
        "parameter_count": None,
        "size_bytes": 0,
        "recommended": False,
    },
]


def fill(apps, schema_editor):
    BaseModel = apps.get_model("runs_app", "BaseModel")
    for entry in CATALOGUE:
        BaseModel.objects.get_or_create(model_id=entry["model_id"], defaults=entry)


class Migration(migrations.Migration):
    dependencies = [("runs_app", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
