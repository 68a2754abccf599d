"""What a method is given and what it gives: task, distilled set, pictures."""
