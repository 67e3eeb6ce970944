// The rooms of the tests: one namespace for each thing a policy can say.

export const rooms = `
[[policy]]
match = ["batch:*"]
batch_window = "500ms"

[[policy]]
match = ["newest-topic:*"]
batch_window = "500ms"
conflate = "topic"

[[policy]]
match = ["newest-key:*"]
batch_window = "500ms"
conflate = "key"

[[policy]]
match = ["retain:*"]
retain = "key"

[[policy]]
match = ["short:*"]
history_size = 5

[[policy]]
match = ["open:*"]
publish = "anyone"

[[policy]]
match = ["seen:*"]
presence = "events"

[[policy]]
match = ["closed:*"]
join = "nobody"

[[policy]]
match = ["slow-close:*"]
slow = "close"
`;
