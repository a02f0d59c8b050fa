package catalog

// Schema are the statements that make the database.
func Schema() []string { return schema }
