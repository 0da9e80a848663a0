"""The trial: predictions and a protocol -> endpoints, paired differences, one verdict. Reads the predictions table and nothing else; no torch."""
