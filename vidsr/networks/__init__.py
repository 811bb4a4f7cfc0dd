"""The networks in torch: training, folding and export. Only `training` and the CLI's verbs for it import this."""
