"""The state database: steps, beliefs, and what people were told, as tables and plain functions of a connection."""

from pdm.state import forwarding as forwarding  # its tables belong to the schema, whoever opens it first
