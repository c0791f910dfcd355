"""Components by name: their specs, the plugins that bring them, and what fits what. No Keras here."""
