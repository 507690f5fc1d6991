"""The REST service; it works as role stockbatch_api and never imports TensorFlow."""
