"""Commands that use trained models: answers, pictures, sound, a container, what they cost, how two differ."""
