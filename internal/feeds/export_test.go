package feeds

// Readers of foreign bytes, for their fuzz tests.
var (
	EachCVE    = eachCVE
	CheckZip   = checkZip
	EachChange = eachChange

	EachDocument = eachDocument
	ReadCSAFList = readCSAFList
)

// DefaultEcosystems are those that an OSV source is asked for.
var DefaultEcosystems = defaultEcosystems

// UnzipAll reads every record of a dump.
func UnzipAll(path string) (records map[string]string, skipped int, err error) {
	z, err := openZip(path)
	if err != nil {
		return nil, 0, err
	}
	defer z.close()
	unpacker := zipUnpacker{zip: z}
	records = map[string]string{}
	for entry, err := range z.entries() {
		if err != nil {
			return records, skipped, err
		}
		raw, err := unpacker.read(entry)
		if err != nil {
			skipped++
			continue
		}
		records[entry.name] = string(raw)
	}
	return records, skipped, nil
}
