"""The human study: people see what each method made of a case, without names, and say which is best."""
