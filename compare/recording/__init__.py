"""Recording: what training steps computed, tensor by tensor."""
