"""Turn the label table into a cohort, and the cohort into patient-disjoint splits."""
