"""Where agents execute: the engine protocol, and the engine that is a driver on a store."""
