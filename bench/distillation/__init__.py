"""The input and output of methods: tasks, distilled sets, pictures of them."""
