from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs_app', '0005_claim_indexes'),
    ]

    operations = [
        # Earlier runs were trained without either.
        migrations.AddField(
            model_name='run',
            name='label_smoothing',
            field=models.FloatField(default=0.0, verbose_name='label smoothing'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='run',
            name='layer_lr_decay',
            field=models.FloatField(default=1.0, verbose_name='learning-rate decay by layer'),
            preserve_default=False,
        ),
    ]
