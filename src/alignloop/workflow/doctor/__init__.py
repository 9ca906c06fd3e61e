"""The doctor: cheap checks of the models, data and config of one PPO run, made before it."""
