"""The inference-deployer add-on: from an InferenceDeployment to an OpenAI endpoint on the chosen clusters."""
