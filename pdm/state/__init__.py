"""The state database: steps, beliefs, and what people were told, as tables and plain functions of a connection."""

# their tables belong to the schema, whoever opens it first
from pdm.state import forwarding as forwarding
from pdm.state import models as models
