def plan(): pass
