"""An engine of torch and transformers, for any causal language model of theirs."""
