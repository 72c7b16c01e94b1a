def steer(): pass
