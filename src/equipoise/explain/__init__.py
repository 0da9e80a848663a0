"""What raised and lowered a risk: attributions to events, numbers, categories and variants, and a page for one patient.

Attention is not an explanation and is not shown. An attribution says what moved this model's answer, never what causes the disease.
"""
