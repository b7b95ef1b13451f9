"""The contract between the services: topics, messages, settings and the few rules all must keep alike."""
