module runnerfleet.lab/standins

go 1.24
