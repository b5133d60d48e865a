"""Works on the hub: replica sets fanned out with a rollout strategy, and works that end some time after."""
