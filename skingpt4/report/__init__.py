"""Reports: what a model said about a photograph, as one document for a patient, a doctor or another program."""
