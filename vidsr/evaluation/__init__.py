"""Quality by the field's protocol: degradation, metrics, tables. numpy only, no torch."""
