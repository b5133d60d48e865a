"""One OpenAI endpoint for every model of the hub: Envoy, configured from the InferenceDeployments."""
