"""
Imported before the demo's settings, so that they are those for debugging, as with `make run`.

They read the environment, which says otherwise for deployments.
"""

import os

os.environ.setdefault("DJANGO_DEBUG", "1")
