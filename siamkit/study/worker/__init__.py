"""What happens in a worker: a trial's training, behind one socket."""
