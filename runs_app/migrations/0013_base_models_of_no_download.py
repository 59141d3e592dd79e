"""A model without a download has no size (0 was one that its own page refused); a revision is one that workers take."""

import django.core.validators
from django.db import migrations, models


def forget_sizes(apps, schema_editor):
    apps.get_model("runs_app", "BaseModel").objects.filter(size_bytes=0).update(size_bytes=None)


class Migration(migrations.Migration):
    dependencies = [("runs_app", "0012_base_model_sizes")]

    operations = [
        migrations.RunPython(forget_sizes, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="basemodel",
            name="revision",
            field=models.CharField(
                blank=True,
                help_text="The commit whose weights every worker uses.",
                max_length=64,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Za-z0-9][\\w.\\-]*\\Z",
                        "Enter a commit of the hub, such as 94d69c95f98f, or the name of a branch.",
                        code="invalid_revision",
                    )
                ],
                verbose_name="revision",
            ),
        ),
    ]
