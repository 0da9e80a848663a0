"""What goes with the page: a committee's two pages, a model card, and reporting checklists that point at artefacts or say "not done"."""
