"""An engine of torch and transformers, for any model of theirs."""
