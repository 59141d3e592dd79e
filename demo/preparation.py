"""What a demo needs in its database: an admin, a worker, the bundled sheet and a queued run.

Imported after the settings are in the environment: it sets Django up.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.files import File  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from datasets_app.services import SheetChoice, import_dataset  # noqa: E402
from demo.environment import SAMPLE  # noqa: E402
from runs_app.models import BUILTIN_TINY_BERT  # noqa: E402
from runs_app.services.runs import create_run  # noqa: E402
from workers_app.services import create_api_token, register_worker  # noqa: E402

LOGIN = "admin"
# For a small model that starts from random weights: a higher rate than the defaults, texts of one line. Under 2 minutes
# on two cores.
HYPERPARAMETERS: dict[str, Any] = {"epochs": 6, "learning_rate": 1e-4, "batch_size": 32, "max_length": 64}


@dataclass(frozen=True)
class Prepared:
    """What the demo tells, and the secrets that it hands on."""

    password: str
    api_token: str
    worker_token: str
    run_id: int
    num_rows: int


def prepare() -> Prepared:
    """Fill an empty database; returns once the run is queued."""
    call_command("migrate", interactive=False, verbosity=0)
    password = secrets.token_urlsafe(12)
    admin = get_user_model()._default_manager.create_superuser(LOGIN, password=password)
    _worker, worker_token = register_worker(name="demo-worker")
    with SAMPLE.open("rb") as content:
        dataset, _created = import_dataset(
            file=File(content), filename=SAMPLE.name, name="Andamentos", choice=SheetChoice(), user=admin
        )
    run = create_run(
        dataset=dataset, base_model=BUILTIN_TINY_BERT, given=HYPERPARAMETERS, user=admin, now=timezone.now()
    )
    _row, api_token = create_api_token(user=admin)
    connection.close()
    return Prepared(password, api_token, worker_token, run.pk, dataset.num_rows)
