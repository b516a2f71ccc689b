"""
Replaces the unique index of idempotency keys while notifications are read and written.

PostgreSQL builds it concurrently, which no transaction can do, so this can be interrupted between
any two statements. It can be repeated then.
"""

from typing import Any

from django.db import migrations, models


class AddUniqueIndex(migrations.AddConstraint):
    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            drop_invalid(self.constraint.name, schema_editor)
            begin = "CREATE UNIQUE INDEX"
            create = str(self.constraint.create_sql(model, schema_editor))
            schema_editor.execute(
                create.replace(begin, f"{begin}{concurrently(schema_editor)} IF NOT EXISTS", 1)
            )

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            drop(self.constraint.name, schema_editor)


class RemoveUniqueIndex(migrations.RemoveConstraint):
    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            drop(self.name, schema_editor)


def concurrently(schema_editor: Any) -> str:
    return " CONCURRENTLY" if schema_editor.connection.vendor == "postgresql" else ""


def drop(name: str, schema_editor: Any) -> None:
    quoted = schema_editor.quote_name(name)
    schema_editor.execute(f"DROP INDEX{concurrently(schema_editor)} IF EXISTS {quoted}")


def drop_invalid(name: str, schema_editor: Any) -> None:
    """Drop what is left of an index if building it was interrupted."""
    if schema_editor.connection.vendor != "postgresql" or schema_editor.collect_sql:
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid",
            [schema_editor.quote_name(name)],
        )
        is_invalid = cursor.fetchone()
    if is_invalid:
        drop(name, schema_editor)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("site_notifications", "0004_account_ended")]

    operations = [
        AddUniqueIndex(
            model_name="notification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("account", "idempotency_key", "life"),
                name="site_notif_once_per_life",
            ),
        ),
        RemoveUniqueIndex(model_name="notification", name="site_notif_once_per_key"),
    ]
