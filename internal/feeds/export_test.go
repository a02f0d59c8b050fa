package feeds

// EachCVE is the reader of NVD files, for its fuzz test.
var EachCVE = eachCVE
