"""Language models: the protocol, the messages, scripted models, and models of providers."""
