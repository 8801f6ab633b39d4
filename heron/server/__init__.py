"""The two servers: the Main Server, which trains by backpropagation, and the Fed Server, which averages."""
