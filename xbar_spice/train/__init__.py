"""Training of neural ODEs on digital operators: data sets, losses and the named tasks."""
