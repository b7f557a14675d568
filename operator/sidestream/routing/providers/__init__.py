"""One module per mesh object that can carry tenant routes; `provider` says what each must offer."""
