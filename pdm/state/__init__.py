"""The state database: steps, beliefs, and what people were told, as tables and plain functions of a connection."""
