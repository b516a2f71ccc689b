# Retention finds the oldest rows of each type by an index; a numbered row is in one of the two.

import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0002_index_numbered_rows_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="broadcast",
            index=models.Index(
                condition=models.Q(("gone_at", None), ("seq__isnull", False)),
                fields=["type", "created_at"],
                name="broadcasts_ageing",
            ),
        ),
        migrations.AddIndex(
            model_name="broadcast",
            index=models.Index(
                condition=models.Q(("gone_at__isnull", False)),
                fields=["type", "gone_at"],
                name="broadcasts_gone",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(
                    ("archived_at", None),
                    ("gone_at", None),
                    ("read_at", None),
                    ("seq__isnull", False),
                ),
                fields=["type", "created_at"],
                name="notifications_ageing",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                models.F("type"),
                django.db.models.functions.comparison.Coalesce("gone_at", "archived_at", "read_at"),
                condition=models.Q(
                    ("read_at__isnull", False), ("gone_at__isnull", False), _connector="OR"
                ),
                name="notifications_settled",
            ),
        ),
    ]
