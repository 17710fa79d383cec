/*
 * Dieses Programm zählt die Bäume eines Waldes. Es liest die Liste der Arten aus einer Datei und
 * schreibt für jede Art die Anzahl der Bäume, deren Umfang größer als der angegebene Wert ist.
 */
#include <stdio.h>

int main(void)
{
	int trees = 0;   	



	printf("%d codelinden\n", trees); // trailing spaces and empty lines stay
	return 0;
}
